"""The disclosure policy as data, one TOML file per version, and its loader."""
