    -- For point reads: an id is the same in all its versions, so the index is safe under FINAL.
    INDEX by_id id TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version, retracted)
PARTITION BY toYYYYMM(first_arrival)
ORDER BY (tenant, first_arrival, id)
TTL toDateTime(first_arrival) + INTERVAL 5 YEAR
SETTINGS non_replicated_deduplication_window = 1000
