-- include row_name
    evidence_topic    LowCardinality(String)           COMMENT 'Topic of the records behind it; empty in rows of a former version',
    evidence_partition Int32                           COMMENT 'Partition of the records behind it' CODEC(ZSTD(1)),
    evidence_offsets  Array(Int64)                     COMMENT 'Offsets of the first 8 records behind it, and of the last 24 after those' CODEC(ZSTD(1)),
