-- Records that came after everything they would change had been finalised and dropped, kept whole: the projection of the
-- topic late-events (I7, I9). One is named by where its record lies and the operator that was done with it.
CREATE TABLE IF NOT EXISTS late_events
(
    topic         LowCardinality(String)           COMMENT 'Where the record lies: topic',
    partition     Int32                            COMMENT 'Where the record lies: partition',
    offset        Int64                            COMMENT 'Where the record lies: offset' CODEC(Delta, ZSTD(1)),
    append_time   DateTime64(3, 'UTC')             COMMENT 'When it was appended there' CODEC(Delta, ZSTD(1)),
    event_time    DateTime64(3, 'UTC')             COMMENT 'When it happened' CODEC(Delta, ZSTD(1)),
    tenant        LowCardinality(String)           COMMENT 'Its tenant',
    event_id      String                           COMMENT 'Its event id; empty where it has none' CODEC(ZSTD(1)),
    operator      LowCardinality(String)           COMMENT 'The operator for which it came too late',
    record_key    Nullable(String)                 COMMENT 'The key of the record, as it was' CODEC(ZSTD(1)),
    record_value  Nullable(String)                 COMMENT 'The value of the record, as it was' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(append_time)
ORDER BY (tenant, topic, partition, offset, operator)
COMMENT 'Records that came too late. Read with FINAL.';
