/** Series in the notation of promtool: values of one minute after the other, from time 0. */
type Series = Record<string, string>

export interface AlertCase {
  fires: Series
  /** Another way in which it fires, at the same time. */
  orFires?: { series: Series; labels: Record<string, string> }
  /** When it is firing. */
  at: string
  /** Labels beside the severity. */
  labels?: Record<string, string>
  /** Stands in the annotations for the value. */
  value?: string
  /** The same series, close to the threshold: it never fires. */
  quiet: Series
}

const requests = (outcome: string) => `grantd_token_requests_total{instance="a",outcome="${outcome}"}`
const registrations = (state: string, instance = 'a') => `grantd_registrations{instance="${instance}",state="${state}"}`
const deliveries = (outcome: string) => `grantd_notice_deliveries_total{instance="a",outcome="${outcome}"}`

/** For each alert: when it fires, and when it must not. */
export const ALERT_CASES: Record<string, AlertCase> = {
  GrantdErrorBudgetBurnsFast: {
    fires: { [requests('issued')]: '0+98x90', [requests('database_unavailable')]: '0+2x90' },
    at: '70m',
    value: '2%',
    // Half a percent, beside a flood of clients that deserve no token.
    quiet: {
      [requests('issued')]: '0+199x90',
      [requests('server_error')]: '0+1x90',
      [requests('wrong_secret')]: '0+9000x90'
    }
  },
  GrantdErrorBudgetBurnsSlowly: {
    fires: { [requests('issued')]: '0+998x150', [requests('hashing_overloaded')]: '0+2x150' },
    at: '2h',
    value: '0.2%',
    quiet: { [requests('issued')]: '0+1999x150', [requests('hashing_overloaded')]: '0+1x150' }
  },
  GrantdDown: {
    fires: { 'up{instance="a",job="grantd"}': '0x10', 'up{instance="b",job="grantd"}': '1x10' },
    at: '5m',
    labels: { instance: 'a', job: 'grantd' },
    // Its target is not there any more.
    orFires: { series: { 'up{instance="b",job="other"}': '1x10' }, labels: { job: 'grantd' } },
    quiet: { 'up{instance="a",job="grantd"}': '1x10', 'up{instance="b",job="other"}': '0x10' }
  },
  GrantdDatabaseAway: {
    fires: { 'grantd_database_away{instance="a"}': '0x10', 'grantd_database_away{instance="b"}': '1x10' },
    at: '5m',
    // Back in time, again and again.
    quiet: { 'grantd_database_away{instance="a"}': '1 0 1 0 1 0 1' }
  },
  GrantdSigningKeyNotRotated: {
    fires: { 'grantd_signing_key_successor_due_timestamp_seconds{instance="a"}': '0x100' },
    at: '80m',
    labels: { instance: 'a' },
    quiet: { 'grantd_signing_key_successor_due_timestamp_seconds{instance="a"}': '1800x100' }
  },
  GrantdCacheMisses: {
    fires: { 'grantd_client_lookups_total{instance="a"}': '0+1200x60', [requests('issued')]: '0+2000x60' },
    at: '50m',
    // Half of many, or all of a few.
    quiet: {
      'grantd_client_lookups_total{instance="a"}': '0+1200x25 30000+300x35',
      [requests('issued')]: '0+2500x25 62500+300x35'
    }
  },
  GrantdLogLinesDropped: {
    fires: { 'grantd_log_lines_dropped_total{instance="a"}': '0+1x30' },
    at: '15m',
    quiet: { 'grantd_log_lines_dropped_total{instance="a"}': '7x30' }
  },
  GrantdArgon2: {
    fires: { 'grantd_argon2_total{gate="token",instance="a"}': '0+60x40' },
    at: '25m',
    quiet: {
      'grantd_argon2_total{gate="token",instance="a"}': '9x40',
      'grantd_argon2_total{gate="admin",instance="a"}': '0+60x40'
    }
  },
  GrantdHashingOverloaded: {
    fires: { 'grantd_argon2_rejected_total{gate="admin",instance="a"}': '0+1x30' },
    at: '15m',
    quiet: { 'grantd_argon2_rejected_total{gate="admin",instance="a"}': '5x30' }
  },
  GrantdTooManyFailures: {
    fires: { [requests('too_many_failures')]: '0+120x40' },
    at: '25m',
    quiet: { [requests('too_many_failures')]: '0+50x40', [requests('wrong_secret')]: '0+500x40' }
  },
  GrantdRegistrationsExpired: {
    fires: { [registrations('expired')]: '3x20', [registrations('expired', 'b')]: '3x20' },
    at: '10m',
    value: '3',
    quiet: { [registrations('expired')]: '0x20', [registrations('expiring_7d')]: '9x20' }
  },
  GrantdRegistrationsExpireIn7Days: {
    fires: { [registrations('expiring_7d')]: '2x100' },
    at: '70m',
    value: '2',
    quiet: { [registrations('expiring_7d')]: '2x50 0x50' }
  },
  GrantdRegistrationsExpireIn30Days: {
    fires: { [registrations('expiring_30d')]: '1x1600' },
    at: '25h',
    value: '1',
    quiet: { [registrations('expiring_30d')]: '0x1600' }
  },
  GrantdNoticesDead: {
    fires: { 'grantd_notice_deliveries_dead{instance="a"}': '4x20' },
    at: '10m',
    value: '4',
    quiet: { 'grantd_notice_deliveries_dead{instance="a"}': '4x3 0x17' }
  },
  GrantdNoticesFail: {
    fires: { [deliveries('failed')]: '0+2x90', [deliveries('dead')]: '0+1x90', [deliveries('delivered')]: '0+2x90' },
    at: '45m',
    quiet: { [deliveries('failed')]: '0+1x90', [deliveries('dead')]: '0+1x90', [deliveries('delivered')]: '0+2x90' }
  }
}
