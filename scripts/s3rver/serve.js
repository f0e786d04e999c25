// Serves S3 from a folder, with the bucket `manpasik`, on a free port of the loopback interface until it is stopped, and
// prints its URL. The package's own command was left out of its release.
const S3rver = require("@20minutes/s3rver");

const options = { address: "127.0.0.1", port: 0, silent: true, directory: process.argv[2] };
new S3rver({ ...options, configureBuckets: [{ name: "manpasik" }] })
  .run()
  .then(({ port }) => console.log(`http://127.0.0.1:${port}`));
