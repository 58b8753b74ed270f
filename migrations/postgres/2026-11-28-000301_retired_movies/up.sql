-- A retired movie is in no public list and gets no shows. The version is raised by every change.
ALTER TABLE movies ADD COLUMN retired_at timestamptz, ADD COLUMN version bigint NOT NULL DEFAULT 1;
