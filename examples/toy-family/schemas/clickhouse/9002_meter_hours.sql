-- What meters read, hour by hour: the projection of the topic meter-hours (I1).
CREATE TABLE IF NOT EXISTS meter_hours
(
-- include row_columns_2
    meter             String                           COMMENT 'The meter' CODEC(ZSTD(1)),
    hour              DateTime64(3, 'UTC')             COMMENT 'The beginning of the hour' CODEC(Delta, ZSTD(1)),
    readings          Int64                            COMMENT 'How many readings there are' CODEC(T64, ZSTD(1)),
    mean_watts        Int64                            COMMENT 'Their mean' CODEC(T64, ZSTD(1)),
    peak_watts        Int64                            COMMENT 'The highest of them' CODEC(T64, ZSTD(1)),

-- include row_table
COMMENT 'What meters read, hour by hour. Read meter_hours_current.';

CREATE OR REPLACE VIEW meter_hours_current AS
SELECT * FROM meter_hours FINAL WHERE retracted = 0
COMMENT 'What meters read, hour by hour: the last version of each row, without the retracted ones.';
