-- Signs of frustration in sessions: the projection of the topic signals (I1). Versions, retractions and the sorting key are as
-- in sla_metrics; the same warning about CLEANUP holds.
CREATE TABLE IF NOT EXISTS signals
(
-- include row_columns
    session_id        String                           COMMENT 'The session, as its producer names it' CODEC(ZSTD(1)),
    rule              LowCardinality(String)           COMMENT 'Which rule found it: rage_click, dead_click ...',
    route             LowCardinality(String)           COMMENT 'The route on which it began',
    element           Nullable(String)                 COMMENT 'Selector of the element that it is about, without what is generated in it' CODEC(ZSTD(1)),
    element_id        Nullable(String)                 COMMENT 'Fingerprint of the element, the same from build to build of the page' CODEC(ZSTD(1)),
    started_at        DateTime64(3, 'UTC')             COMMENT 'Time of its first event' CODEC(Delta, ZSTD(1)),
    ended_at          DateTime64(3, 'UTC')             COMMENT 'Time of its last event' CODEC(Delta, ZSTD(1)),
    count             Int32                            COMMENT 'How many events it took: clicks, submits, reversals ...' CODEC(T64, ZSTD(1)),
    weight            Int32                            COMMENT 'What it counts towards a score, in thousandths' CODEC(T64, ZSTD(1)),
    is_error          Bool                             COMMENT 'The system itself answered with an error',
    incident_id       Nullable(UUID)                   COMMENT 'The incident of which it is part' CODEC(ZSTD(1)),

    -- For point reads. An id, and the session that a row is of, are the same in all its versions: safe under FINAL. The incident
    -- is not, so it has no index: an older version alone would be found by it.
    INDEX by_id id TYPE bloom_filter GRANULARITY 1,
    INDEX by_session session_id TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version, retracted)
PARTITION BY toYYYYMM(first_arrival)
ORDER BY (tenant, first_arrival, id)
TTL toDateTime(first_arrival) + INTERVAL 5 YEAR
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Signs of frustration in sessions. Read signals_current.';

CREATE OR REPLACE VIEW signals_current AS
SELECT * FROM signals FINAL WHERE retracted = 0
COMMENT 'Signs of frustration in sessions: the last version of each row, without the retracted ones.';

-- What users did in one sitting each: the projection of the topic sessions (I1). An open session has a row, too, which is
-- replaced as it goes on.
CREATE TABLE IF NOT EXISTS sessions
(
-- include row_columns
    session_id        String                           COMMENT 'The session, as its producer names it; after a long pause, or a day, another row has the same' CODEC(ZSTD(1)),
    user              Nullable(String)                 COMMENT 'Who: a hash' CODEC(ZSTD(1)),
    device            LowCardinality(Nullable(String)) COMMENT 'desktop, mobile, tablet ...',
    browser           LowCardinality(Nullable(String)) COMMENT 'The browser, and its version',
    os                LowCardinality(Nullable(String)) COMMENT 'The operating system',
    started_at        DateTime64(3, 'UTC')             COMMENT 'Time of its first event' CODEC(Delta, ZSTD(1)),
    ended_at          DateTime64(3, 'UTC')             COMMENT 'Time of its last event so far' CODEC(Delta, ZSTD(1)),
    duration_ms       Int64                            COMMENT 'ended_at - started_at, in milliseconds' CODEC(T64, ZSTD(1)),
    active_ms         Int64                            COMMENT 'The same without the pauses' CODEC(T64, ZSTD(1)),
    closed            Bool                             COMMENT 'It has ended',
    events            UInt64                           COMMENT 'How many events it has' CODEC(T64, ZSTD(1)),
    counts            Map(LowCardinality(String), UInt64) COMMENT 'How many events of each kind: click, navigation ...' CODEC(ZSTD(1)),
    routes            Array(LowCardinality(String))    COMMENT 'Its routes in order, the first 50' CODEC(ZSTD(1)),
    pages             Array(String)                    COMMENT 'URLs of its pages in order, the first 50' CODEC(ZSTD(1)),
    entry             LowCardinality(String)           COMMENT 'The first route',
    exit              LowCardinality(String)           COMMENT 'The last route',
    errors            UInt64                           COMMENT 'Errors, and requests that failed' CODEC(T64, ZSTD(1)),
    signals           Int32                            COMMENT 'Signs of frustration' CODEC(T64, ZSTD(1)),
    score             Int32                            COMMENT 'Frustration, 0 to 100' CODEC(T64, ZSTD(1)),
    truncated         Bool                             COMMENT 'It had more events than are kept: late ones no longer change its signals',

    -- As in signals.
    INDEX by_id id TYPE bloom_filter GRANULARITY 1,
    INDEX by_session session_id TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version, retracted)
PARTITION BY toYYYYMM(first_arrival)
ORDER BY (tenant, first_arrival, id)
TTL toDateTime(first_arrival) + INTERVAL 5 YEAR
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What users did in one sitting each. Read sessions_current.';

CREATE OR REPLACE VIEW sessions_current AS
SELECT * FROM sessions FINAL WHERE retracted = 0
COMMENT 'What users did in one sitting each: the last version of each row, without the retracted ones.';
