-- What a person's decision has passed over (I7): tidewatch skip.
ALTER TABLE accounting
    ADD COLUMN IF NOT EXISTS skipped UInt64 COMMENT 'Offsets that were passed over by tidewatch skip: not read, and no part of the sum' CODEC(T64, ZSTD(1));

CREATE OR REPLACE VIEW accounting_current AS
SELECT * FROM accounting FINAL
COMMENT 'What became of the records, by tenant and hour: the last count of each hour.';
