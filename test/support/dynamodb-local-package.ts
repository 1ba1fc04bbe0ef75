/** The files of DynamoDB Local, which an npm package carries and whose licence forbids passing them on. */
import { npmPackageFolder } from './npm-package.js';

/** The folder with `DynamoDBLocal.jar`. Downloads 57 MB when it is not there yet. */
export const dynamodbLocalFolder = (): Promise<string> =>
  npmPackageFolder({
    name: 'amplify-dynamodb-simulator',
    version: '2.9.30',
    sha512: 'xTeeRLvzEfqyd5lh3bH4c0kHvSHHmmhD5ZDsHFKAQ5g2Zl6JqlFdutaQhCLHzxEp6Ry1o7TB6niIoXuQAnSewQ==',
    folder: 'emulator',
  });
