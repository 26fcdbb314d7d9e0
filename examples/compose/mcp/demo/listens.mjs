// A health check: does somebody listen on this port?
import { connect } from 'node:net';

connect(Number(process.argv[2]), '127.0.0.1', () => process.exit(0)).on('error', () => process.exit(1));
