"""The tables of the ledger's two files.

Keys are integers; a chain's number stands for its (agent, epoch). The body is the last column, so
that reading what stands before it never walks over the body's pages.
"""

LEDGER_VERSION = 1
LEDGER = """
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- Whose batches: the key they were verified with, so that a proof needs no one else.
CREATE TABLE agents (
    agent BLOB PRIMARY KEY,
    public_key BLOB NOT NULL,
    is_own INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- One epoch of one agent. Below head_seq nothing is missing; kept_seq is the newest batch kept
-- there. What is kept beyond the head is found in batches, what is declared lost in lost.
CREATE TABLE chains (
    chain INTEGER PRIMARY KEY,
    agent BLOB NOT NULL,
    epoch BLOB NOT NULL,
    head_seq INTEGER NOT NULL DEFAULT 0,
    head_hash BLOB NOT NULL DEFAULT x'',
    kept_seq INTEGER NOT NULL DEFAULT 0,
    kept_hash BLOB NOT NULL DEFAULT x'',
    top_seq INTEGER NOT NULL DEFAULT 0,
    hole_since INTEGER,
    -- Its first batch has come and names no parent.
    is_root INTEGER NOT NULL DEFAULT 0,
    parent_epoch BLOB,
    parent_seq INTEGER,
    parent_hash BLOB,
    end_seq INTEGER,
    end_hash BLOB,
    UNIQUE (agent, epoch)
);
CREATE INDEX chains_parent ON chains (agent, parent_epoch) WHERE parent_epoch IS NOT NULL;
CREATE INDEX chains_hole ON chains (hole_since) WHERE hole_since IS NOT NULL;

CREATE TABLE lost (
    chain INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    last_hash BLOB NOT NULL,
    reason TEXT NOT NULL,
    batches INTEGER NOT NULL,
    records INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (chain, first_seq, last_seq)
) WITHOUT ROWID;

CREATE TABLE batches (
    position INTEGER PRIMARY KEY,
    chain INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    received INTEGER NOT NULL,
    verdict INTEGER NOT NULL,
    header_hash BLOB NOT NULL,
    signature BLOB NOT NULL,
    header BLOB NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (chain, seq)
);

-- Evidence of forks: what came for a place that was taken.
CREATE TABLE held (
    id INTEGER PRIMARY KEY,
    chain INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    received INTEGER NOT NULL,
    header_hash BLOB NOT NULL,
    signature BLOB NOT NULL,
    header BLOB NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (header_hash, signature)
);

-- A break in an agent's history. It holds for batches from position on, until it is released.
CREATE TABLE flags (
    id INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    at INTEGER NOT NULL,
    agent BLOB NOT NULL,
    epoch BLOB NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    quarantines INTEGER NOT NULL,
    released INTEGER
);
CREATE UNIQUE INDEX flags_agent ON flags (agent, epoch, kind) WHERE released IS NULL;

-- How far each source of derived records has been sealed.
CREATE TABLE marks (
    name TEXT PRIMARY KEY,
    pending INTEGER NOT NULL,
    position INTEGER NOT NULL
) WITHOUT ROWID;
"""

LOG_VERSION = 1
LOG = """
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- What admit said of each batch; the highest position is the verified mark.
CREATE TABLE admitted (
    position INTEGER PRIMARY KEY,
    outcome INTEGER NOT NULL,
    entry INTEGER NOT NULL
);
CREATE INDEX admitted_newer ON admitted (position) WHERE outcome & 4;

-- The transparency log. Complete subtrees by their number in an in-order walk of the tree.
CREATE TABLE nodes (
    node INTEGER PRIMARY KEY,
    hash BLOB NOT NULL
);

-- An entry is a batch of the ledger, found by the first bytes of its header's hash, or the signed
-- refusal of one.
CREATE TABLE entries (
    entry INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    name INTEGER NOT NULL,
    refusal BLOB,
    signature BLOB
);
CREATE INDEX entries_name ON entries (name);

CREATE TABLE checkpoints (
    size INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    note BLOB NOT NULL
);

-- What has been told about, so that it is told once.
CREATE TABLE told (
    name TEXT PRIMARY KEY,
    at INTEGER NOT NULL
) WITHOUT ROWID;

-- Records of our own that wait to be sealed (see collector.ledger.pending).
CREATE TABLE pending (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    position INTEGER NOT NULL,
    record BLOB NOT NULL
);
"""
