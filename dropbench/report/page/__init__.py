"""The page: one HTML file of tables and interactive pictures that works offline."""
