-- Validates the constraints of the migrations before. Tokens are issued, and registrations are changed, while Postgres
-- reads the rows.
alter table registrations
  validate constraint registrations_credential_complete,
  validate constraint registrations_previous_credential_complete,
  validate constraint registrations_credential_kind,
  validate constraint registrations_previous_credential_kind,
  validate constraint registrations_secret_digest_length,
  validate constraint registrations_previous_secret_digest_length;
alter table notices validate constraint notices_step_of_expiry;
