/**
 * What a fleet costs in a month: plain arithmetic over `prices.ts`, `figures.ts` and `fleets.ts`, without input or output.
 * Called by `document.ts` and by tests.
 */
import { assumptions, measured, reckonings, service } from './figures.js';
import type { Quotas } from '../../services/tenancy/tenancy.js';
import type { Workload } from './fleets.js';
import { capacityUnit, prices } from './prices.js';

/** Who ends TLS on 8883, as the setting `mqttTls` names it. */
export type MqttTls = 'nlb' | 'broker';

/** Dollars a month, by what is paid for. */
export interface Bill {
  readonly tasks: number;
  readonly fargate: number;
  readonly loadBalancer: number;
  readonly transfer: number;
  readonly database: number;
  /** The same for every fleet. */
  readonly fixed: number;
  readonly total: number;
}

const hours = 730;
const days = hours / 24;
const secondsPerDay = 86_400;
const million = 1e6;
const gb = 1e9;
const tb = 1e12;

/** Of all devices, in a month. */
export interface Traffic {
  readonly reconnects: number;
  readonly pings: number;
  readonly telemetry: number;
  readonly commands: number;
  /** Of both, one by one. */
  readonly storedTelemetry: number;
  readonly storedCommands: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export function trafficOf(workload: Workload, devices: number): Traffic {
  const monthly = (perDay: number): number => devices * perDay * days;
  const reconnects = monthly(workload.reconnectsPerDay);
  const pings = monthly(secondsPerDay / workload.keepAliveSeconds);
  const telemetry = monthly(workload.telemetryPerDay);
  const commands = monthly(workload.commandsPerDay);
  const around = assumptions.headerBytes.value;
  // Fixed header 3, topic length 2, packet identifier 2, properties 1.
  const publish = around + 8 + workload.topicBytes + workload.payloadBytes;
  const answer = around + 4;
  const ping = around + 2;
  // CONNECT with names and password, and CONNACK with the properties of MQTT 5.
  const handshakeIn = assumptions.handshakeBytesIn.value + around + 120;
  const handshakeOut = assumptions.handshakeBytesOut.value + around + 40;
  // Each message goes in once and out once, and each way is answered.
  const messages = telemetry + commands;
  return {
    reconnects,
    pings,
    telemetry,
    commands,
    storedTelemetry: telemetry * workload.telemetryStoredShare,
    storedCommands: commands * workload.commandsStoredShare,
    bytesIn: reconnects * handshakeIn + pings * ping + messages * (publish + answer),
    bytesOut: reconnects * handshakeOut + pings * ping + messages * (publish + answer),
  };
}

/** Seconds of CPU time a second. */
function cpuOf(traffic: Traffic, mqttTls: MqttTls, isCluster: boolean): number {
  const inBroker = mqttTls === 'broker';
  const us = {
    connect: (inBroker ? measured.connectUsTls : measured.connectUsTcp).value,
    leave: (inBroker ? measured.leaveUsTls : measured.leaveUsTcp).value,
    ping: (inBroker ? measured.pingUsTls : measured.pingUsTcp).value,
    // What TLS adds to a packet and its answer, on both sides of a message.
    tls: inBroker ? 2 * (measured.pingUsTls.value - measured.pingUsTcp.value) : 0,
  };
  const stored = traffic.storedTelemetry + traffic.storedCommands;
  const perMonthUs =
    traffic.reconnects * (us.connect + us.leave) +
    traffic.pings * us.ping +
    (traffic.telemetry + traffic.commands) *
      (measured.messageUs.value * (isCluster ? assumptions.hops.value : 1) + us.tls) +
    stored * measured.storedUs.value +
    traffic.storedCommands * measured.drainUs.value;
  return perMonthUs / million / (hours * 3600);
}

function taskMemoryGb(mqttTls: MqttTls): number {
  return (mqttTls === 'broker' ? service.memoryGbTls : service.memoryGb).value;
}

function taskUsd(mqttTls: MqttTls): number {
  return hours * (service.vcpu.value * prices.vcpuHour.usd + taskMemoryGb(mqttTls) * prices.memoryGbHour.usd);
}

/** One broker serves as many as it takes; beyond that it is a cluster, with room for more. */
export function tasksFor(devices: number, traffic: Traffic, mqttTls: MqttTls): number {
  const connectionKb = (mqttTls === 'broker' ? measured.memoryKbTls : measured.memoryKbTcp).value;
  const usableGb = taskMemoryGb(mqttTls) * assumptions.memoryShare.value - assumptions.baseMemoryGb.value;
  const byMemory = (devices * connectionKb * 1024) / (usableGb * 2 ** 30);
  const fitsOne =
    devices <= service.connectionsMax.value &&
    byMemory <= 1 &&
    cpuOf(traffic, mqttTls, false) <= assumptions.cpuShare.value * service.vcpu.value;
  if (fitsOne) return 1;
  const byConnections = devices / (service.connectionsMax.value * assumptions.connectionsShare.value);
  const byCpu = cpuOf(traffic, mqttTls, true) / (assumptions.cpuShare.value * service.vcpu.value);
  return Math.ceil(Math.max(byConnections, byCpu, byMemory));
}

/** The dimension that takes the most capacity units is the one that is paid for. */
export function capacityUnits(devices: number, traffic: Traffic, mqttTls: MqttTls): number {
  const unit = capacityUnit[mqttTls === 'nlb' ? 'tls' : 'tcp'];
  return Math.max(
    devices / unit.active,
    traffic.reconnects / (hours * 3600) / unit.newPerSecond,
    (traffic.bytesIn + traffic.bytesOut) / gb / hours / unit.gbPerHour,
  );
}

/** What `clustered: true` adds to a single broker whose tasks have no way to the internet. */
export interface SecondBroker {
  readonly fargate: number;
  readonly endpoint: number;
  readonly database: number;
  /** Two keys, three alarms. */
  readonly watched: number;
  readonly total: number;
}

/** One more task, which stands by. The function that makes tasks targets runs for minutes a month: a few cents. */
export function secondBroker(mqttTls: MqttTls): SecondBroker {
  // The same one that the certificate comes through, where there is one.
  const endpoints = mqttTls === 'broker' ? 0 : 1;
  const bill = {
    fargate: taskUsd(mqttTls),
    endpoint: endpoints * service.zones.value * prices.endpointHour.usd * hours,
    database:
      (reckonings.leaseWriteUnits.value / million) * prices.writeUnits.usd +
      (reckonings.standbyReadUnits.value / million) * prices.readUnits.usd,
    watched: service.clusterKeys.value * prices.secret.usd + service.clusterAlarms.value * prices.alarm.usd,
  };
  return { ...bill, total: Object.values(bill).reduce((sum, usd) => sum + usd) };
}

/** What one tenant can cost a month that uses all that its plan allows, in dollars; nothing is shared with others. */
export interface DearestTenant {
  readonly evenly: number;
  /** The month's units at once, and then what uses them up evenly, until the month is over. */
  readonly database: number;
  /** All that is written stays. */
  readonly storage: number;
  readonly transfer: number;
  readonly loadBalancer: number;
}

export function dearestTenant({ databaseUnitsPerMonth: units, bytesPerSecond: bytes }: Quotas): DearestTenant {
  if (units === null || bytes === null) throw new Error('a plan without these quotas costs whatever its tenants like');
  const seconds = hours * 3600;
  const evenly = (units / million) * prices.writeUnits.usd;
  const database = evenly + (Math.max(units, seconds) / million) * prices.writeUnits.usd;
  const keptGb = ((database / prices.writeUnits.usd) * million * 1024) / gb;
  return {
    evenly,
    database,
    storage: keptGb * (prices.storageGb.usd + prices.backupGb.usd),
    transfer: internetUsd(bytes * seconds),
    loadBalancer: ((2 * bytes * 3600) / gb / capacityUnit.tls.gbPerHour) * hours * prices.capacityUnitHour.usd,
  };
}

/** Sent to the internet, each part at the price of its tier. */
export function internetUsd(bytes: number): number {
  const tiers = [
    { upTo: 10 * tb, usd: prices.outGb10Tb.usd },
    { upTo: 50 * tb, usd: prices.outGb50Tb.usd },
    { upTo: 150 * tb, usd: prices.outGb150Tb.usd },
    { upTo: Infinity, usd: prices.outGbMore.usd },
  ];
  return tiered(bytes, tiers) / gb;
}

function tiered(amount: number, tiers: readonly { readonly upTo: number; readonly usd: number }[]): number {
  let usd = 0;
  let from = 0;
  for (const tier of tiers) {
    usd += Math.max(0, Math.min(amount, tier.upTo) - from) * tier.usd;
    from = tier.upTo;
  }
  return usd;
}

function databaseUsd(devices: number, traffic: Traffic, tasks: number): number {
  const online = traffic.telemetry + traffic.commands;
  const writes =
    tasks * reckonings.leaseWriteUnits.value +
    traffic.reconnects * (measured.connectWriteUnits.value + measured.leaveWriteUnits.value) +
    (online / million) * measured.onlineWriteUnits.value +
    (traffic.storedTelemetry + traffic.storedCommands) * reckonings.aloneWriteUnits.value +
    traffic.storedCommands * reckonings.noteWriteUnits.value;
  const reads =
    tasks * reckonings.leaseReadUnits.value +
    (online / million) * measured.onlineReadUnits.value +
    traffic.storedCommands * reckonings.aloneReadUnits.value;
  const storedGb = (devices * reckonings.sessionBytes.value) / gb;
  return (
    (writes / million) * prices.writeUnits.usd +
    (reads / million) * prices.readUnits.usd +
    storedGb * (prices.storageGb.usd + prices.backupGb.usd)
  );
}

function fixedUsd(mqttTls: MqttTls): number {
  const zones = service.zones.value;
  // Image, layers' index and log; the secret with the certificate besides, where the broker ends TLS.
  const endpoints = mqttTls === 'broker' ? 4 : 3;
  return (
    zones * (prices.addressHour.usd + endpoints * prices.endpointHour.usd) * hours +
    service.metrics.value * prices.metric.usd +
    service.alarms.value * prices.alarm.usd +
    prices.dashboard.usd +
    service.otherUsd.value
  );
}

export function shoalBill(workload: Workload, devices: number, mqttTls: MqttTls): Bill {
  const traffic = trafficOf(workload, devices);
  const tasks = tasksFor(devices, traffic, mqttTls);
  const balancers = Math.ceil((2 * tasks) / service.targetsMax.value);
  const crossing = (traffic.bytesIn + traffic.bytesOut) * (1 - 1 / service.zones.value);
  const logged = traffic.reconnects * assumptions.logBytes.value;
  const parts = {
    fargate: tasks * taskUsd(mqttTls),
    loadBalancer:
      (balancers * prices.loadBalancerHour.usd +
        capacityUnits(devices, traffic, mqttTls) * prices.capacityUnitHour.usd) *
      hours,
    transfer: internetUsd(traffic.bytesOut) + (crossing / gb) * prices.zoneGb.usd,
    database: databaseUsd(devices, traffic, tasks),
    fixed: fixedUsd(mqttTls) + (logged / gb) * prices.logGb.usd,
  };
  const total = Object.values(parts).reduce((sum, usd) => sum + usd, 0);
  return { tasks, ...parts, total };
}

/** How the back end gets the messages of the devices: as a subscriber, or through a rule with one action. */
export type IotBackEnd = 'subscriber' | 'rule';

/**
 * AWS IoT Core counts messages in and out, CONNECT, and each PUBACK that a client sends, in pieces of 5 KB; pings are
 * free. Devices keep their sessions, so they do not subscribe again.
 */
export function iotCoreUsd(workload: Workload, devices: number, backEnd: IotBackEnd): number {
  const traffic = trafficOf(workload, devices);
  const minutes = devices * hours * 60;
  // A command: in from the back end, out to the device, and the device's PUBACK.
  const messages = traffic.reconnects + traffic.commands * 3 + traffic.telemetry * (backEnd === 'subscriber' ? 3 : 1);
  const rules = backEnd === 'rule' ? traffic.telemetry : 0;
  const tiers = [
    { upTo: 1000 * million, usd: prices.iotMessages1G.usd },
    { upTo: 5000 * million, usd: prices.iotMessages5G.usd },
    { upTo: Infinity, usd: prices.iotMessagesMore.usd },
  ];
  return (minutes * prices.iotMinutes.usd + tiered(messages, tiers) + rules * prices.iotRule.usd) / million;
}

/** Session minutes and traffic, of which the page says only that it is public traffic in and out. */
export function emqxUsd(workload: Workload, devices: number): number {
  const { bytesIn, bytesOut } = trafficOf(workload, devices);
  const minutes = devices * hours * 60;
  return (minutes / million) * prices.emqxMinutes.usd + ((bytesIn + bytesOut) / 2 ** 30) * prices.emqxGb.usd;
}
