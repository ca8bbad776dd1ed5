#!/bin/sh
# Runs once, while the data folder of the postgres image is empty.
# Creates the database, the role that owns it, and the role that grantd serves with.
set -eu

psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
-- Read here, because arguments are visible in the process list.
\set owner_password `cat "$OWNER_PASSWORD_FILE"`
\set serving_password `cat "$SERVING_PASSWORD_FILE"`

create role grantd_owner login password :'owner_password';
-- The owner may not create roles. Migrations grant rights to this role.
create role grantd_serving nologin;
create role grantd login password :'serving_password' in role grantd_serving;
create database grantd owner grantd_owner;
-- The image requires a password for the superuser. Without one, it can only log in over the socket of the container.
alter role current_user password null;
SQL
