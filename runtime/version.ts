/** The version of this program, as package.json has it (a test holds them together), and when it was made. */
export const VERSION = '0.1.0'
/** A clock before this time is wrong for certain. */
export const BUILT_MS: number = Date.UTC(2026, 10, 23)
