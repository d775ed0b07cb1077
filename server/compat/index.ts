/** The package entry `runwire/compat`: the former WebSocket event system's names over a Runwire server (docs/migrating.md). */

export * from '../../shared/compat-events.ts';
export { RunEventBroadcaster, runEventBroadcaster, webSocketManager } from './broadcaster.ts';
export { type ConnectionStats, WebSocketManager } from './manager.ts';
