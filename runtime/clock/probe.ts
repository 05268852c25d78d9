/** What may vouch for the system's clock. */
export type ClockSource = 'timesyncd' | 'chrony' | 'rtc' | 'operator'

/** One way to find out whether the system's clock is right. Looking changes nothing and takes at most a second. */
export interface ClockProbe {
  readonly source: ClockSource
  /**
   * Null when it doesn't vouch for the clock. Otherwise a mark of when it did so last: another mark than before says that
   * the clock was confirmed anew. Never throws.
   */
  look(wallMs: number): Promise<string | null>
}
