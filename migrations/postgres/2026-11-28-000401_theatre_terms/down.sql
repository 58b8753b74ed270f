ALTER TABLE theatres
    DROP COLUMN name_folded, DROP COLUMN currency, DROP COLUMN tax_basis_points, DROP COLUMN cleaning_minutes,
    DROP COLUMN retired_at, DROP COLUMN version;
