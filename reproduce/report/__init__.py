"""Tables and figures from logs. Imports the contracts (config, events, artefacts) and never the engine nor torch."""
