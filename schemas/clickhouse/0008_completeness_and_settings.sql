-- How far each partition of each family has been folded: the projection of the topic progress, whose one partition orders
-- its records. The last one counts.
CREATE TABLE IF NOT EXISTS completeness
(
    topic             LowCardinality(String) COMMENT 'The family topic',
    partition         Int32                  COMMENT 'Its partition',
    operator          LowCardinality(String) COMMENT 'Which operator folds it',
    offset            Int64                  COMMENT 'The next offset to be folded: everything before it has been' CODEC(Delta, ZSTD(1)),
    clock             DateTime64(3, 'UTC')   COMMENT 'How far the partition''s time has come: the highest append time folded; the year 0: nothing yet' CODEC(Delta, ZSTD(1)),
    settings_version  Int64                  COMMENT 'Settings in force: an offset of the topic settings' CODEC(ZSTD(1)),
    outputs           Array(Tuple(topic LowCardinality(String), partition Int32, offset Int64)) COMMENT 'Where what the worker wrote since it took the partition over ends in the derived topics' CODEC(ZSTD(1)),
    log_offset        Int64                  COMMENT 'Where this is said: offset in the topic progress; orders the versions of the row' CODEC(Delta, ZSTD(1)),
    log_append_time   DateTime64(3, 'UTC')   COMMENT 'When this was said' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(log_offset)
ORDER BY (topic, partition, operator)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'How far each partition of each family has been folded. Read completeness_current.';

CREATE OR REPLACE VIEW completeness_current AS
SELECT * FROM completeness FINAL
COMMENT 'How far each partition of each family has been folded: min(clock) is the time up to which all of them have. The rows of the other tables follow within a batch of the sink.';

-- Every change of settings: the projection of the topic settings. A change is named by its offset, which is the version
-- that rows name, and never changes itself.
CREATE TABLE IF NOT EXISTS settings_changes
(
    log_offset       Int64                            COMMENT 'The version: what rows name as settings_version' CODEC(Delta, ZSTD(1)),
    log_append_time  DateTime64(3, 'UTC')             COMMENT 'When it was made' CODEC(Delta, ZSTD(1)),
    family           LowCardinality(String)           COMMENT 'The family whose operators it is for',
    tenant           LowCardinality(Nullable(String)) COMMENT 'The tenant; NULL: all that have no settings of their own',
    base             Nullable(Int64)                  COMMENT 'The version that it is meant to replace: another one in force made the change void',
    document         String                           COMMENT 'All that is set, as a JSON object: what is not named is inherited' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY log_offset
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Every change of settings. Read settings_changes_current.';

CREATE OR REPLACE VIEW settings_changes_current AS
SELECT * FROM settings_changes FINAL
COMMENT 'Every change of settings, each once.';
