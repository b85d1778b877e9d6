-- The raw events of the family civic, as they lie in the log: the projection of the topic civic (I1). A row is named by
-- its partition and offset, and never changes. Marks are no events and have no row; what can't be read is in dead_letters.
--
-- A part holds one week, so that retention drops whole parts and rewrites none.
CREATE TABLE IF NOT EXISTS civic_events
(
    log_partition    Int32                  COMMENT 'Where the record lies in the topic civic: partition' CODEC(T64, ZSTD(1)),
    log_offset       Int64                  COMMENT 'Where the record lies in the topic civic: offset' CODEC(Delta, ZSTD(1)),
    log_append_time  DateTime64(3, 'UTC')   COMMENT 'When it was appended' CODEC(Delta, ZSTD(1)),
    log_key          Nullable(String)       COMMENT 'Key of the record' CODEC(ZSTD(1)),
    tenant           LowCardinality(String) COMMENT 'Whose it is',
    event_id         String                 COMMENT 'The id that its producer gave it, unique within the tenant; a repeat is another row' CODEC(ZSTD(1)),
    occurred_at      DateTime64(3, 'UTC')   COMMENT 'When it happened' CODEC(Delta, ZSTD(1)),
    body_kind        LowCardinality(String) COMMENT 'What happened: ReportSubmitted or IssueStatusChanged',
    body             String                 COMMENT 'What happened, as JSON: read it by JSONExtractString(body, ''area'') and its like' CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(log_append_time)
ORDER BY (tenant, toDate(log_append_time), log_partition, log_offset)
TTL toDateTime(log_append_time) + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000
COMMENT 'Raw events of the family civic, for 90 days. Read civic_events_current.';

-- Each record once.
CREATE OR REPLACE VIEW civic_events_current AS
SELECT * FROM civic_events FINAL
COMMENT 'Raw events of the family civic, each once, for 90 days.';
