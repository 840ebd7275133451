"""Preflight: what is wrong with which node, found in about a minute before a job trains.

``python -m reproduce.engine.preflight --help``. Every rank gathers facts about itself and its node (``facts``,
``gpus``); rank 0 measures clocks against its own (``clocks``), pairs of nodes measure their links (``links``), and
rank 0 judges the facts of all (``judge``) into a table (``table``). Ranks talk through a store of keys and values
(``board``), not by collectives: a broken network library must still give a table.
"""
