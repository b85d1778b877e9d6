-- Dead letters are by operator: of two jobs that read a topic, either may fail to fold the same record.
ALTER TABLE dead_letters
    ADD COLUMN IF NOT EXISTS operator LowCardinality(String) COMMENT 'The operator that could not fold it; empty where it was refused before or after that' AFTER event_id,
    MODIFY ORDER BY (ifNull(tenant, ''), topic, partition, offset, operator);

CREATE OR REPLACE VIEW dead_letters_current AS
SELECT * FROM dead_letters FINAL
COMMENT 'Records that could not be folded or stored, each once for each operator.';
