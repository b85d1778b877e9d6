-- include row_name
    evidence_first    Array(Tuple(topic LowCardinality(String), partition Int32, offset Int64, event_id String)) COMMENT 'The first 8 records behind it' CODEC(ZSTD(1)),
    evidence_last     Array(Tuple(topic LowCardinality(String), partition Int32, offset Int64, event_id String)) COMMENT 'The last 24 records after those' CODEC(ZSTD(1)),
