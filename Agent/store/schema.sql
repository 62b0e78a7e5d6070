BEGIN;

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 0004

CREATE TABLE projects (
    project_id SERIAL NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    content_allowed BOOLEAN NOT NULL,
    created_us BIGINT NOT NULL,
    PRIMARY KEY (project_id),
    UNIQUE (name)
);

CREATE TABLE api_keys (
    key_id TEXT COLLATE "C" NOT NULL,
    project_id INTEGER NOT NULL,
    scopes TEXT COLLATE "C" NOT NULL,
    label TEXT NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    created_us BIGINT NOT NULL,
    revoked_us BIGINT,
    PRIMARY KEY (key_id)
);

CREATE TABLE sessions (
    project_id INTEGER NOT NULL,
    session_uid UUID NOT NULL,
    session_id TEXT COLLATE "C",
    first_us BIGINT NOT NULL,
    last_us BIGINT NOT NULL,
    events BIGINT NOT NULL,
    PRIMARY KEY (project_id, session_uid)
);

CREATE TABLE events (
    project_id INTEGER NOT NULL,
    session_uid UUID NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    ts_us BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    severity SMALLINT NOT NULL,
    agent_id TEXT COLLATE "C",
    agent_role TEXT COLLATE "C",
    run_id TEXT COLLATE "C",
    span_id TEXT COLLATE "C",
    parent_span_id TEXT COLLATE "C",
    tick BIGINT,
    name TEXT COLLATE "C",
    duration_ms FLOAT(53),
    outcome TEXT COLLATE "C",
    causes JSONB,
    body JSONB NOT NULL,
    PRIMARY KEY (project_id, session_uid, event_id)
)
 PARTITION BY RANGE (session_uid);

CREATE TABLE runs (
    project_id INTEGER NOT NULL,
    run_id TEXT COLLATE "C" NOT NULL,
    session_uid UUID,
    listed_us BIGINT NOT NULL,
    started_us BIGINT,
    ended_us BIGINT,
    status TEXT COLLATE "C" NOT NULL,
    agent_id TEXT COLLATE "C",
    agent_version TEXT COLLATE "C",
    parent_run_id TEXT COLLATE "C",
    failure_type TEXT COLLATE "C",
    failure_code TEXT COLLATE "C",
    labels JSONB NOT NULL,
    PRIMARY KEY (project_id, run_id)
);

CREATE TABLE steps (
    project_id INTEGER NOT NULL,
    run_id TEXT COLLATE "C" NOT NULL,
    step_key TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    step_id TEXT COLLATE "C" NOT NULL,
    step_type TEXT COLLATE "C",
    name TEXT COLLATE "C",
    started_us BIGINT,
    latency_ms FLOAT(53),
    status TEXT COLLATE "C",
    metadata JSONB NOT NULL,
    parent_step_id TEXT COLLATE "C",
    PRIMARY KEY (project_id, run_id, step_key)
)
 PARTITION BY RANGE (run_id);

CREATE TABLE failures (
    project_id INTEGER NOT NULL,
    run_id TEXT COLLATE "C" NOT NULL,
    failure_id TEXT COLLATE "C" NOT NULL,
    failure_type TEXT COLLATE "C" NOT NULL,
    failure_code TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C",
    step_id TEXT COLLATE "C",
    step_key TEXT COLLATE "C",
    error_id TEXT COLLATE "C",
    occurred_us BIGINT,
    message TEXT,
    PRIMARY KEY (project_id, run_id, failure_id)
);

CREATE TABLE checkpoints (
    project_id INTEGER NOT NULL,
    checkpoint_id TEXT COLLATE "C" NOT NULL,
    run_id TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    step_id TEXT COLLATE "C" NOT NULL,
    agent_id TEXT COLLATE "C",
    saved_us BIGINT NOT NULL,
    tick BIGINT,
    reason TEXT COLLATE "C",
    event_id TEXT COLLATE "C",
    state TEXT NOT NULL,
    state_types TEXT NOT NULL,
    PRIMARY KEY (project_id, checkpoint_id)
);

CREATE TABLE replays (
    project_id INTEGER NOT NULL,
    replay_id TEXT COLLATE "C" NOT NULL,
    run_id TEXT COLLATE "C" NOT NULL,
    checkpoint_id TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    created_us BIGINT NOT NULL,
    due_us BIGINT NOT NULL,
    finished_us BIGINT,
    request TEXT NOT NULL,
    result TEXT,
    problem TEXT,
    PRIMARY KEY (project_id, replay_id)
);

CREATE INDEX sessions_by_time ON sessions (project_id, first_us, session_uid);

CREATE INDEX events_by_time ON events (project_id, session_uid, ts_us, event_id);

CREATE INDEX events_by_agent ON events (project_id, session_uid, agent_id, ts_us, event_id);

CREATE INDEX events_by_run ON events (project_id, run_id, ts_us, event_id) WHERE run_id IS NOT NULL;

CREATE INDEX events_of_errors ON events (project_id, ts_us, event_id) WHERE severity >= 40;

CREATE INDEX events_by_span ON events (project_id, session_uid, span_id) WHERE span_id IS NOT NULL;

CREATE INDEX events_of_models ON events (project_id, run_id) WHERE kind = 'model.call';

CREATE INDEX events_within_span ON events (project_id, session_uid, parent_span_id) WHERE parent_span_id IS NOT NULL;

CREATE INDEX runs_by_time ON runs (project_id, listed_us, run_id);

CREATE INDEX runs_by_agent ON runs (project_id, agent_id, listed_us, run_id);

CREATE INDEX runs_by_version ON runs (project_id, agent_version, listed_us, run_id);

CREATE INDEX runs_by_status ON runs (project_id, status, listed_us, run_id);

CREATE INDEX runs_by_failure ON runs (project_id, failure_type, failure_code, listed_us, run_id) WHERE failure_type IS NOT NULL;

CREATE INDEX runs_by_session ON runs (project_id, session_uid, listed_us, run_id) WHERE session_uid IS NOT NULL;

CREATE INDEX steps_by_position ON steps (project_id, run_id, position, step_key);

CREATE INDEX checkpoints_by_run ON checkpoints (project_id, run_id, position, checkpoint_id);

CREATE INDEX replays_by_run ON replays (project_id, run_id, created_us, replay_id);

CREATE TABLE events_default PARTITION OF events DEFAULT;

CREATE TABLE steps_default PARTITION OF steps DEFAULT;

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'agent_trace_reader') THEN
    CREATE ROLE agent_trace_reader NOLOGIN;
  END IF;
  EXECUTE 'GRANT USAGE ON SCHEMA ' || quote_ident(current_schema()) || ' TO agent_trace_reader';
  GRANT SELECT ON projects, api_keys, sessions, events, runs, steps, failures, alembic_version
    TO agent_trace_reader;
  EXECUTE 'GRANT agent_trace_reader TO ' || quote_ident(current_user);
EXCEPTION WHEN insufficient_privilege THEN
  RAISE NOTICE 'agent_trace_reader was not made: this user may not create roles';
END $$;

INSERT INTO alembic_version (version_num) VALUES ('0004') RETURNING alembic_version.version_num;

COMMIT;
