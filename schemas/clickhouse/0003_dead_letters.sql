-- Records that could not be folded or stored, kept whole: the projection of the topic dead-letters (I7). A letter is
-- named by where its record lies, so one that is written twice counts once under FINAL.
CREATE TABLE IF NOT EXISTS dead_letters
(
    topic         LowCardinality(String)           COMMENT 'Where the record lies: topic',
    partition     Int32                            COMMENT 'Where the record lies: partition',
    offset        Int64                            COMMENT 'Where the record lies: offset' CODEC(Delta, ZSTD(1)),
    append_time   DateTime64(3, 'UTC')             COMMENT 'When it was appended there' CODEC(Delta, ZSTD(1)),
    tenant        LowCardinality(Nullable(String)) COMMENT 'Its tenant, where that could be read',
    event_id      Nullable(String)                 COMMENT 'Its event id, where that could be read' CODEC(ZSTD(1)),
    reason        LowCardinality(String)           COMMENT 'Why, as a code: undecodable, unknown_issue, future_event ...',
    message       String                           COMMENT 'Why, in words' CODEC(ZSTD(1)),
    record_key    Nullable(String)                 COMMENT 'The key of the record, as it was' CODEC(ZSTD(1)),
    record_value  Nullable(String)                 COMMENT 'The value of the record, as it was' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(append_time)
ORDER BY (ifNull(tenant, ''), topic, partition, offset)
COMMENT 'Records that could not be folded or stored. Read with FINAL.';
