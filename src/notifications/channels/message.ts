/** An event as receivers get it (CloudEvents 1.0, structured mode). */
export interface CloudEvent {
  specversion: '1.0'
  /** Also `webhook-id`: the same on every try. */
  id: string
  source: string
  type: string
  subject: string
  time: string
  datacontenttype: 'application/json'
  data: Record<string, unknown>
}

/** One thing to tell, in the forms that the kinds of receivers take. */
export interface Message {
  event: CloudEvent
  mail: { subject: string; text: string; html: string }
}

/** What the test of a receiver tells it. `now`: milliseconds since the epoch. */
export function testMessage(id: string, source: string, siteId: string, receiverId: string, now: number): Message {
  const text = `This is a test of notice receiver ${receiverId} of Site ${siteId}. Nothing has expired.`
  return {
    event: {
      specversion: '1.0',
      id,
      source,
      type: 'com.grantd.notice-receiver.test',
      subject: receiverId,
      time: new Date(now).toISOString(),
      datacontenttype: 'application/json',
      data: { site: siteId, receiverId }
    },
    // Ids have no character that HTML reads.
    mail: { subject: 'Test of a notice receiver', text: `${text}\n`, html: `<p>${text}</p>\n` }
  }
}
