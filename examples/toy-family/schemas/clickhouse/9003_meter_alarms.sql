-- Times in which meters read more than their tenants allow: the projection of the topic meter-alarms (I1).
CREATE TABLE IF NOT EXISTS meter_alarms
(
-- include row_columns_2
    meter             String                           COMMENT 'The meter' CODEC(ZSTD(1)),
    opened_at         DateTime64(3, 'UTC')             COMMENT 'Time of the first reading above' CODEC(Delta, ZSTD(1)),
    closed_at         Nullable(DateTime64(3, 'UTC'))   COMMENT 'Time of the first reading that is not above; NULL: it is open' CODEC(ZSTD(1)),
    above_watts       Int64                            COMMENT 'What was allowed when it was opened' CODEC(T64, ZSTD(1)),
    peak_watts        Int64                            COMMENT 'The highest reading' CODEC(T64, ZSTD(1)),

-- include row_table
COMMENT 'Times in which meters read more than their tenants allow. Read meter_alarms_current.';

CREATE OR REPLACE VIEW meter_alarms_current AS
SELECT * FROM meter_alarms FINAL WHERE retracted = 0
COMMENT 'Times in which meters read more than their tenants allow: the last version of each row, without the retracted ones.';
