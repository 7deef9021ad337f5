"""Renderers of tables and figures: text, pictures, and the page's charts."""
