import { Type } from 'typebox'

export const CalendarFeedSchema = Type.Object(
  {
    url: Type.String({
      format: 'uri',
      description:
        'URL of the calendar feed. It needs no header, so keep it secret: it opens the calendar to everybody.',
      examples: ['https://id.example.com/calendar/Jx4yQ2hB0c9e7Xw1s5Tn8uKfLr3vAoZdGmPiYtEqNbU.ics']
    })
  },
  { $id: 'CalendarFeed', additionalProperties: false, description: "The URL of a Site's calendar feed" }
)

export const FeedParams = Type.Object({
  key: Type.String({
    format: 'password',
    description: 'Key of the feed',
    examples: ['Jx4yQ2hB0c9e7Xw1s5Tn8uKfLr3vAoZdGmPiYtEqNbU']
  })
})
