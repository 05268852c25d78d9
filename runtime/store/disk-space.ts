import { rmSync, statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { MarramError } from '../base/errors.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { fillFile, isNoSpace } from './file.ts'

export interface SpaceRules {
  /** Bytes of the disk that stay free: a sweep that would find fewer is not begun. */
  readonly reserveFreeBytes: number
  /** Bytes that the store may take on the disk, log included. */
  readonly maxBytes: number
  /** Size of the ballast. */
  readonly ballastBytes: number
}

export const DEFAULT_SPACE_RULES: SpaceRules = {
  reserveFreeBytes: GATEWAY_LIMITS.reserveFreeBytes,
  maxBytes: Number.POSITIVE_INFINITY,
  ballastBytes: GATEWAY_LIMITS.ballastBytes,
}

export function freeBytesOf(dir: string): number {
  const { bavail, bsize } = statfsSync(dir)
  return bavail * bsize
}

/** Why nothing may be swept to the disk now, or null. */
export function fullness(dir: string, storeBytes: number, rules: SpaceRules): MarramError | null {
  const free = freeBytesOf(dir)
  if (free < rules.reserveFreeBytes) {
    const sentence = `Cannot write to "${dir}": its disk has ${free} bytes free, it must have ${rules.reserveFreeBytes}`
    return new MarramError('storage-full', sentence)
  }
  if (storeBytes > rules.maxBytes) {
    const sentence = `Cannot write to "${dir}": the store has ${storeBytes} bytes, it may have ${rules.maxBytes}`
    return new MarramError('storage-full', sentence)
  }
  return null
}

/**
 * A file without use but its size: when the disk has become full it is given up, so that the next start finds room to
 * sweep what the log holds.
 */
export function keepBallast(dir: string, { ballastBytes, reserveFreeBytes }: SpaceRules): void {
  const path = ballastPath(dir)
  if (ballastBytes === 0 || sizeOf(path) === ballastBytes) return
  rmSync(path, { force: true })
  if (freeBytesOf(dir) < ballastBytes + reserveFreeBytes) return
  try {
    fillFile(path, ballastBytes)
  } catch (error) {
    if (!isNoSpace(error)) throw error
    dropBallast(dir)
  }
}

export function dropBallast(dir: string): void {
  rmSync(ballastPath(dir), { force: true })
}

function ballastPath(dir: string): string {
  return join(dir, 'ballast')
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}
