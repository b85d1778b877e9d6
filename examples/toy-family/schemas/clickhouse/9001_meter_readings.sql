-- The raw events of the family meters, as they lie in the log: the projection of the topic meters (I1).
CREATE TABLE IF NOT EXISTS meter_readings
(
    log_partition    Int32                  COMMENT 'Where the record lies in the topic meters: partition' CODEC(T64, ZSTD(1)),
    log_offset       Int64                  COMMENT 'Where the record lies in the topic meters: offset' CODEC(Delta, ZSTD(1)),
    log_append_time  DateTime64(3, 'UTC')   COMMENT 'When it was appended' CODEC(Delta, ZSTD(1)),
    tenant           LowCardinality(String) COMMENT 'Whose it is',
    event_id         String                 COMMENT 'The id that its producer gave it, unique within the tenant; a repeat is another row' CODEC(ZSTD(1)),
    occurred_at      DateTime64(3, 'UTC')   COMMENT 'When it was read' CODEC(Delta, ZSTD(1)),
    meter            String                 COMMENT 'The meter' CODEC(ZSTD(1)),
    watts            Int64                  COMMENT 'The power at that moment; what is fed in is negative' CODEC(T64, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(log_append_time)
ORDER BY (tenant, toDate(log_append_time), log_partition, log_offset)
TTL toDateTime(log_append_time) + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000
COMMENT 'Raw events of the family meters, for 90 days. Read meter_readings_current.';

CREATE OR REPLACE VIEW meter_readings_current AS
SELECT * FROM meter_readings FINAL
COMMENT 'Raw events of the family meters, each once, for 90 days.';
