"""How runs are carried out: one signature, several ways."""
