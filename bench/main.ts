import { benchReplication } from './replication.ts'
import { benchStore } from './store.ts'

/** `npm run bench [-- store | replication]`: figures as a table, then one line of JSON. They are this machine's of this hour: compare ratios. */
const [only] = process.argv.slice(2)
const figures: { [part: string]: unknown } = {}
if (only === undefined || only === 'store') figures['store'] = await benchStore()
if (only === undefined || only === 'replication') {
  const replication = await benchReplication()
  for (const [name, value] of Object.entries(replication))
    console.log(`${name.padEnd(46)} ${value >= 1_000 ? Math.round(value).toLocaleString('en') : value.toFixed(2)}`)
  figures['replication'] = replication
}
console.log(JSON.stringify(figures))
process.exit(0)
