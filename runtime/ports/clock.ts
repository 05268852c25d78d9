/** How far a clock may be believed: 2 synchronised, 1 agreed with neighbours, 0 not at all (protocol D14). */
export type ClockClass = 0 | 1 | 2

export interface Clock {
  /** Unix milliseconds as the system has them: may be 1970, may jump. */
  wallMs(): number
  /** Milliseconds that never go back; the zero is arbitrary. */
  monotonicMs(): number
  /** Whether something vouches for `wallMs`: class 2, or 0. */
  trust(): ClockClass
}
