-- What became of the records, by tenant and hour of append time (I7): the projection of the topic accounting. The last
-- version of a row counts.
CREATE TABLE IF NOT EXISTS accounting
(
    tenant         LowCardinality(String)          COMMENT 'Whose records; empty where they could not be read',
    operator       LowCardinality(String)          COMMENT 'Which operator counted',
    topic          LowCardinality(String)          COMMENT 'The family topic',
    partition      Int32                           COMMENT 'Its partition',
    hour           DateTime64(3, 'UTC')            COMMENT 'The beginning of the hour' CODEC(Delta, ZSTD(1)),
    version        UInt64                          COMMENT 'Orders the versions of the row' CODEC(Delta, ZSTD(1)),
    read           UInt64                          COMMENT 'Data records read: the sum of the others' CODEC(T64, ZSTD(1)),
    folded         UInt64                          COMMENT 'Of them, folded into the state' CODEC(T64, ZSTD(1)),
    duplicate      UInt64                          COMMENT 'Of them, seen before' CODEC(T64, ZSTD(1)),
    late           UInt64                          COMMENT 'Of them, late: see late_events' CODEC(T64, ZSTD(1)),
    dead_lettered  UInt64                          COMMENT 'Of them, not foldable: see dead_letters' CODEC(T64, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(hour)
ORDER BY (tenant, operator, topic, partition, hour)
COMMENT 'What became of the records, by tenant and hour. Read accounting_current.';

-- The last count of each hour.
CREATE OR REPLACE VIEW accounting_current AS
SELECT * FROM accounting FINAL;
