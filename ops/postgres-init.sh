#!/bin/sh
# Runs once, while the data folder of the postgres image is empty.
# Makes the database, the role that owns it, and the role that grantd serves as.
set -eu

psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
-- Read here: arguments would show in the process list.
\set owner_password `cat "$OWNER_PASSWORD_FILE"`
\set serving_password `cat "$SERVING_PASSWORD_FILE"`

create role grantd_owner login password :'owner_password';
-- The owner may not create roles; migrations grant to this one.
create role grantd_serving nologin;
create role grantd login password :'serving_password' in role grantd_serving;
create database grantd owner grantd_owner;
-- The image insists on a password for the superuser. Without one it comes by the container's own socket only.
alter role current_user password null;
SQL
