-- With it the serving role may delete notices: see serving-role.sql, which runs after each migration.
comment on table notices is 'what fired; rows of an expiry that is past and no registration''s any more go after NOTICE_RETENTION_DAYS';
