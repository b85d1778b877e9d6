-- What meters read, hour by hour: the projection of the topic meter-hours (I1).
CREATE TABLE IF NOT EXISTS meter_hours
(
    id                UUID                             COMMENT 'Name of the row, the same in all its versions',
    version           UInt64                           COMMENT 'Orders the versions of the row: generation, input offset, emission' CODEC(Delta, ZSTD(1)),
    retracted         UInt8                            COMMENT '1: the row no longer holds',
    final             UInt8                            COMMENT '1: nothing will change the row any more',
    merged_into       Nullable(UUID)                   COMMENT 'Of a retracted row: the row that has absorbed it',
    tenant            LowCardinality(String)           COMMENT 'Whose it is',
    key               String                           COMMENT 'The key under which it was folded' CODEC(ZSTD(1)),
    operator          LowCardinality(String)           COMMENT 'Which operator emitted it',
    operator_version  Int32                            COMMENT 'Semantic version of the operator' CODEC(ZSTD(1)),
    settings_version  Int64                            COMMENT 'Settings in force: an offset of the topic settings' CODEC(ZSTD(1)),
    first_arrival     DateTime64(3, 'UTC')             COMMENT 'Append time of the first record behind it; never changes for an id' CODEC(Delta, ZSTD(1)),
    evidence_count    UInt64                           COMMENT 'How many records are behind it' CODEC(T64, ZSTD(1)),
    evidence_first    Array(Tuple(topic LowCardinality(String), partition Int32, offset Int64, event_id String)) COMMENT 'The first 8 records behind it' CODEC(ZSTD(1)),
    evidence_last     Array(Tuple(topic LowCardinality(String), partition Int32, offset Int64, event_id String)) COMMENT 'The last 24 records after those' CODEC(ZSTD(1)),
    meter             String                           COMMENT 'The meter' CODEC(ZSTD(1)),
    hour              DateTime64(3, 'UTC')             COMMENT 'The beginning of the hour' CODEC(Delta, ZSTD(1)),
    readings          Int64                            COMMENT 'How many readings there are' CODEC(T64, ZSTD(1)),
    mean_watts        Int64                            COMMENT 'Their mean' CODEC(T64, ZSTD(1)),
    peak_watts        Int64                            COMMENT 'The highest of them' CODEC(T64, ZSTD(1)),

    INDEX by_id id TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version, retracted)
PARTITION BY toYYYYMM(first_arrival)
ORDER BY (tenant, first_arrival, id)
TTL toDateTime(first_arrival) + INTERVAL 5 YEAR
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What meters read, hour by hour. Read meter_hours_current.';

CREATE OR REPLACE VIEW meter_hours_current AS
SELECT * FROM meter_hours FINAL WHERE retracted = 0
COMMENT 'What meters read, hour by hour: the last version of each row, without the retracted ones.';
