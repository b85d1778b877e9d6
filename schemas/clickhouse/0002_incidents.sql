-- What went wrong, of all families: the projection of the topic incidents (I1). Versions, retractions and the
-- sorting key are as in sla_metrics; the same warning about CLEANUP holds.
CREATE TABLE IF NOT EXISTS incidents
(
    id                UUID                             COMMENT 'Name of the row, the same in all its versions',
    version           UInt64                           COMMENT 'Orders the versions of the row: generation, input offset, emission' CODEC(Delta, ZSTD(1)),
    retracted         UInt8                            COMMENT '1: the row no longer holds',
    tenant            LowCardinality(String)           COMMENT 'Whose it is',
    key               String                           COMMENT 'The key under which it was folded' CODEC(ZSTD(1)),
    operator          LowCardinality(String)           COMMENT 'Which operator emitted it',
    operator_version  Int32                            COMMENT 'Semantic version of the operator' CODEC(ZSTD(1)),
    settings_version  Int64                            COMMENT 'Settings in force: an offset of the topic settings' CODEC(ZSTD(1)),
    first_arrival     DateTime64(3, 'UTC')             COMMENT 'Append time of the first record behind it; never changes for an id' CODEC(Delta, ZSTD(1)),
    evidence_count    UInt64                           COMMENT 'How many records are behind it' CODEC(T64, ZSTD(1)),
    evidence_first    Array(Tuple(topic LowCardinality(String), partition Int32, offset Int64, event_id String)) COMMENT 'The first 8 records behind it' CODEC(ZSTD(1)),
    evidence_last     Array(Tuple(topic LowCardinality(String), partition Int32, offset Int64, event_id String)) COMMENT 'The last 24 records after those' CODEC(ZSTD(1)),
    family            LowCardinality(String)           COMMENT 'The family whose records are behind it',
    rule              LowCardinality(String)           COMMENT 'Which rule found it',
    severity          Enum8('low' = 1, 'medium' = 2, 'high' = 3, 'critical' = 4) COMMENT 'How grave it is; compares as such',
    subject           String                           COMMENT 'What it is about, e.g. the id of an issue' CODEC(ZSTD(1)),
    title             String                           COMMENT 'One line for people' CODEC(ZSTD(1)),
    started_at        DateTime64(3, 'UTC')             COMMENT 'When it began; for a breach its due time' CODEC(Delta, ZSTD(1)),
    ended_at          Nullable(DateTime64(3, 'UTC'))   COMMENT 'When it ended; NULL while it is open' CODEC(ZSTD(1)),
    attributes        Map(LowCardinality(String), String) COMMENT 'What is particular to the rule' CODEC(ZSTD(1)),

    -- For point reads. Safe under FINAL: all versions of a row have the same id.
    INDEX by_id id TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version, retracted)
PARTITION BY toYYYYMM(first_arrival)
ORDER BY (tenant, first_arrival, id)
COMMENT 'What went wrong, of all families. Read incidents_current.';

-- What holds now: the highest version of each row, without the retracted ones.
CREATE OR REPLACE VIEW incidents_current AS
SELECT * FROM incidents FINAL WHERE retracted = 0;
