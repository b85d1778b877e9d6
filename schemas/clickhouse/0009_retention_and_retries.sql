-- Retention, on columns that never change for an id: all versions of a row end together, so none comes back because a
-- later one was dropped before it. What is older follows from the log at any time (I1).
ALTER TABLE sla_metrics MODIFY TTL toDateTime(first_arrival) + INTERVAL 5 YEAR;
ALTER TABLE incidents MODIFY TTL toDateTime(first_arrival) + INTERVAL 5 YEAR;
ALTER TABLE accounting MODIFY TTL toDateTime(hour) + INTERVAL 5 YEAR;
ALTER TABLE dead_letters MODIFY TTL toDateTime(append_time) + INTERVAL 1 YEAR;
ALTER TABLE late_events MODIFY TTL toDateTime(append_time) + INTERVAL 1 YEAR;

-- A batch that is sent again, because its acknowledgement was lost, is recognised by its token. That only saves work: what
-- makes repeats harmless is that a row is named by its sorting key and ordered by its version (I6).
ALTER TABLE sla_metrics MODIFY SETTING non_replicated_deduplication_window = 1000;
ALTER TABLE incidents MODIFY SETTING non_replicated_deduplication_window = 1000;
ALTER TABLE accounting MODIFY SETTING non_replicated_deduplication_window = 1000;
ALTER TABLE dead_letters MODIFY SETTING non_replicated_deduplication_window = 1000;
ALTER TABLE late_events MODIFY SETTING non_replicated_deduplication_window = 1000;

-- Every table has a view without repeats and without what no longer holds, and every view says what it is.
CREATE OR REPLACE VIEW sla_metrics_current AS
SELECT * FROM sla_metrics FINAL WHERE retracted = 0
COMMENT 'How resolved issues stand to their due times: the last version of each row, without the retracted ones.';

CREATE OR REPLACE VIEW incidents_current AS
SELECT * FROM incidents FINAL WHERE retracted = 0
COMMENT 'What went wrong, of all families: the last version of each row, without the retracted ones.';

CREATE OR REPLACE VIEW accounting_current AS
SELECT * FROM accounting FINAL
COMMENT 'What became of the records, by tenant and hour: the last count of each hour.';

CREATE OR REPLACE VIEW dead_letters_current AS
SELECT * FROM dead_letters FINAL
COMMENT 'Records that could not be folded or stored, each once.';

CREATE OR REPLACE VIEW late_events_current AS
SELECT * FROM late_events FINAL
COMMENT 'Records that came too late, each once.';

ALTER TABLE dead_letters MODIFY COMMENT 'Records that could not be folded or stored. Read dead_letters_current.';
ALTER TABLE late_events MODIFY COMMENT 'Records that came too late. Read late_events_current.';
