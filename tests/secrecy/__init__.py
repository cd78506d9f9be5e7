"""Personal values are looked for wherever bytes come to rest or go out."""
