-- Whether a row can still change (I9), and what has absorbed a retracted one.
ALTER TABLE sla_metrics
    ADD COLUMN IF NOT EXISTS final UInt8 DEFAULT 0 COMMENT '1: nothing will change the row any more' AFTER retracted,
    ADD COLUMN IF NOT EXISTS merged_into Nullable(UUID) DEFAULT NULL COMMENT 'Of a retracted row: the row that has absorbed it' AFTER final;

ALTER TABLE incidents
    ADD COLUMN IF NOT EXISTS final UInt8 DEFAULT 0 COMMENT '1: nothing will change the row any more' AFTER retracted,
    ADD COLUMN IF NOT EXISTS merged_into Nullable(UUID) DEFAULT NULL COMMENT 'Of a retracted row: the row that has absorbed it' AFTER final;

-- A view keeps the columns that its tables had when it was made.
CREATE OR REPLACE VIEW sla_metrics_current AS
SELECT * FROM sla_metrics FINAL WHERE retracted = 0;

CREATE OR REPLACE VIEW incidents_current AS
SELECT * FROM incidents FINAL WHERE retracted = 0;
