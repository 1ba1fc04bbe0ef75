/** Frames of a channel as they go over a link. What is numbered is encoded once, when it is given to the channel. */
import {
  type ChannelFrame,
  contentTypes,
  type Encoded,
  handledContent,
  type Lane,
  numberBytes,
  numberOf,
  pingContent,
  pongContent,
  readHandled,
  readNumbers,
} from '../mesh/mesh.js';

/** For the link. */
export function encoded(frame: ChannelFrame<Encoded>): Encoded {
  switch (frame.type) {
    case 'frame':
      frame.frame.body.writeUIntBE(frame.number, 0, numberBytes);
      return frame.frame;
    case 'heard':
      return handledContent('heard', frame.handled);
    case 'ping':
      return pingContent(frame.ping);
    case 'pong':
      return pongContent(frame.ping, frame.told);
  }
}

/** From the link. Throws for what has not its layout. */
export function decoded({ type, body }: Encoded): ChannelFrame<Encoded> {
  switch (type) {
    case contentTypes.heard:
      return { type: 'heard', handled: readHandled(body) };
    case contentTypes.ping:
      return { type: 'ping', ping: readNumbers(body, 1)[0]! };
    case contentTypes.pong: {
      const [ping, told] = readNumbers(body, 2);
      return { type: 'pong', ping: ping!, told: told! };
    }
    default: {
      const lane: Lane = type === contentTypes.forwards || type === contentTypes.passed ? 'data' : 'control';
      return { type: 'frame', lane, number: numberOf(body), frame: { type, body } };
    }
  }
}
