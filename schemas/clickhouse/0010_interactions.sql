-- The raw events of the family interactions, as they lie in the log: the projection of the topic interactions (I1). A row is
-- named by its partition and offset, and never changes. Marks are no events and have no row; what can't be read is in
-- dead_letters. The record's key is tenant/session_id and needs no column.
--
-- What is read most is one session's timeline. A session lasts a day at most, so it lies in two days of the sorting key, and
-- within each its events lie side by side: a read that names tenant, days and session touches a few blocks, and one that names
-- a tenant and a day reads no others. A part holds one week, so that retention drops whole parts and rewrites none.
CREATE TABLE IF NOT EXISTS interaction_events
(
    log_partition    Int32                            COMMENT 'Where the record lies in the topic interactions: partition' CODEC(T64, ZSTD(1)),
    log_offset       Int64                            COMMENT 'Where the record lies in the topic interactions: offset' CODEC(Delta, ZSTD(1)),
    log_append_time  DateTime64(3, 'UTC')             COMMENT 'When it was appended' CODEC(Delta, ZSTD(1)),
    tenant           LowCardinality(String)           COMMENT 'Whose it is',
    session_id       String                           COMMENT 'The producer''s session' CODEC(ZSTD(1)),
    tab_id           String                           COMMENT 'The tab, unique within the session; empty where there is but one' CODEC(ZSTD(1)),
    window_id        Nullable(String)                 COMMENT 'The window' CODEC(ZSTD(1)),
    page_view_id     Nullable(String)                 COMMENT 'The page view' CODEC(ZSTD(1)),
    event_id         Nullable(String)                 COMMENT 'The producer''s id of the event, unique within the session; a repeat is another row' CODEC(ZSTD(1)),
    seq              Nullable(Int64)                  COMMENT 'The producer''s count of the events of this session and tab' CODEC(Delta, ZSTD(1)),
    occurred_at      DateTime64(3, 'UTC')             COMMENT 'When it happened' CODEC(Delta, ZSTD(1)),
    device_time      Nullable(DateTime64(3, 'UTC'))   COMMENT 'When it happened by the device''s clock, where that was wrong and has been corrected' CODEC(ZSTD(1)),
    url              Nullable(String)                 COMMENT 'Where: origin, route, and of the query what may be kept' CODEC(ZSTD(1)),
    route            LowCardinality(String)           COMMENT 'The path, with :id for each id in it; empty where there is none',
    user             Nullable(String)                 COMMENT 'Who: a keyed hash' CODEC(ZSTD(1)),
    device           LowCardinality(Nullable(String)) COMMENT 'desktop, mobile, tablet …',
    browser          LowCardinality(Nullable(String)) COMMENT 'The browser, and its version',
    os               LowCardinality(Nullable(String)) COMMENT 'The operating system',
    sdk              LowCardinality(Nullable(String)) COMMENT 'The version of the SDK that has sent it',
    body_kind        LowCardinality(String)           COMMENT 'What happened: Pointer, Field, Submit, Validation, Scroll, Moves, Navigation, Page, Mutation, Request, Failure or Custom',
    body             String                           COMMENT 'What happened, as JSON: read it by JSONExtractString(body, ''target'', ''selector'') and its like' CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(log_append_time)
ORDER BY (tenant, toDate(log_append_time), session_id, log_partition, log_offset)
TTL toDateTime(log_append_time) + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000
COMMENT 'Raw events of the family interactions, for 90 days. Read interaction_events_current.';

-- Each record once.
CREATE OR REPLACE VIEW interaction_events_current AS
SELECT * FROM interaction_events FINAL
COMMENT 'Raw events of the family interactions, each once, for 90 days.';
