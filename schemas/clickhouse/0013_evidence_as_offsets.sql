-- The records behind a row, as its partition and their offsets (I8). What the former columns hold of rows of a former version lies in
-- the topics still; those rows are emitted again when their job is folded anew.
ALTER TABLE incidents
-- include evidence_as_offsets
CREATE OR REPLACE VIEW incidents_current AS
SELECT * FROM incidents FINAL WHERE retracted = 0
COMMENT 'What went wrong, of all families: the last version of each row, without the retracted ones.';

ALTER TABLE sessions
-- include evidence_as_offsets
CREATE OR REPLACE VIEW sessions_current AS
SELECT * FROM sessions FINAL WHERE retracted = 0
COMMENT 'What users did in one sitting each: the last version of each row, without the retracted ones.';

ALTER TABLE signals
-- include evidence_as_offsets
CREATE OR REPLACE VIEW signals_current AS
SELECT * FROM signals FINAL WHERE retracted = 0
COMMENT 'Signs of frustration in sessions: the last version of each row, without the retracted ones.';

ALTER TABLE sla_metrics
-- include evidence_as_offsets
CREATE OR REPLACE VIEW sla_metrics_current AS
SELECT * FROM sla_metrics FINAL WHERE retracted = 0
COMMENT 'How resolved issues stand to their due times: the last version of each row, without the retracted ones.';
