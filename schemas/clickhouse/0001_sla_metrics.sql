-- How resolved issues stand to their due times: the projection of the topic sla-metrics (I1).
--
-- A row is named by `id` and ordered by `version` (I6): inserts may be repeated, late or out of order, and the
-- highest version is what counts. ORDER BY and PARTITION BY hold only what never changes for an id, because
-- versions merge only within one partition and only where the sorting key is equal.
--
-- `retracted` is the engine's is_deleted. A merge keeps the row of the highest version also where it is retracted,
-- so an older version that a zombie inserts late stays dead. Never run OPTIMIZE … CLEANUP, and never set
-- allow_experimental_replacing_merge_with_cleanup: it would remove the retraction, and the zombie would live.
CREATE TABLE IF NOT EXISTS sla_metrics
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
    issue_id          UUID                             COMMENT 'The issue',
    area              LowCardinality(String)           COMMENT 'Its area',
    department        LowCardinality(Nullable(String)) COMMENT 'Its department, if known',
    opened_at         DateTime64(3, 'UTC')             COMMENT 'When it was opened' CODEC(Delta, ZSTD(1)),
    due_at            DateTime64(3, 'UTC')             COMMENT 'When it was due' CODEC(Delta, ZSTD(1)),
    due_source        LowCardinality(String)           COMMENT 'Whose word the due time is: reported or default',
    resolved_at       DateTime64(3, 'UTC')             COMMENT 'When it was resolved' CODEC(Delta, ZSTD(1)),
    resolution_ms     Int64                            COMMENT 'resolved_at - opened_at, in milliseconds' CODEC(T64, ZSTD(1)),
    met               Bool                             COMMENT 'Resolved no later than due'
)
ENGINE = ReplacingMergeTree(version, retracted)
PARTITION BY toYYYYMM(first_arrival)
ORDER BY (tenant, first_arrival, id)
COMMENT 'How resolved issues stand to their due times. Read sla_metrics_current.';

-- What holds now: the highest version of each row, without the retracted ones.
CREATE OR REPLACE VIEW sla_metrics_current AS
SELECT * FROM sla_metrics FINAL WHERE retracted = 0;
