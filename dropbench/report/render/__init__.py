"""From tables and figures to text, pictures and the page's charts."""
