"""Statistics, tables, pictures and exports, out of the CSV files alone; torch is never imported."""
