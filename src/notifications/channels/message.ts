/** An event as a receiver gets it (CloudEvents 1.0, structured mode). */
export interface CloudEvent {
  specversion: '1.0'
  /** Also sent as `webhook-id`. Every try of a delivery has the same. */
  id: string
  source: string
  type: string
  subject: string
  time: string
  datacontenttype: 'application/json'
  data: Record<string, unknown>
}

/** One message, in the forms that channels send: as an event for programs, and as a text for people. */
export interface Message {
  event: CloudEvent
  text: { subject: string; plain: string; html: string }
}

/** Makes the message of a receiver's test. @param now milliseconds since the epoch */
export function testMessage(id: string, source: string, siteId: string, receiverId: string, now: number): Message {
  const text = `This is a test of notice receiver ${receiverId} of Site ${siteId}. No App registration has expired.`
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
    // The ids have no character that HTML would interpret.
    text: { subject: 'Test of a notice receiver', plain: `${text}\n`, html: `<p>${text}</p>\n` }
  }
}
